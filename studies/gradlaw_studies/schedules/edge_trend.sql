-- One row: one seed and length of linear warm-up; log of the largest stable lr of $rule, the middle of its last
-- bracket, on the network.
-- $source: 'measured', or a check of the instrument: an edge that rises with the length ('rising'), or falls.
WITH edges AS (
-- include: edges.sql
)
SELECT
    seed,
    warmup_steps AS level,
    CASE $source
        WHEN 'measured' THEN log_edge
        WHEN 'rising' THEN ln(1 + warmup_steps)
        WHEN 'falling' THEN -ln(1 + warmup_steps)
    END AS value
FROM edges
WHERE task = 'digits_mlp' AND rule = $rule AND schedule = 'linear_warmup'
