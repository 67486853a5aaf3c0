-- One row: one seed; log of the largest stable lr on the quadratic, without warm-up, over 2 / lambda_max.
WITH edges AS (
-- include: edges.sql
)
SELECT seed, log_edge + ln(sharpness / 2) AS value
FROM edges
WHERE task = 'digits_squares' AND warmup_steps = 0
