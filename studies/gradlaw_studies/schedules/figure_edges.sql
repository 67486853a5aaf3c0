-- One row: one seed, rule and kind of warm-up on the network; the largest stable lr.
WITH edges AS (
-- include: edges.sql
)
SELECT seed, rule, schedule, coalesce(warmup_steps, 0)::BIGINT AS warmup_steps, exp(log_edge) AS edge
FROM edges
WHERE task = 'digits_mlp'
