-- One row: one trial at the threshold. x: as in memory_crossings.sql; y: the log of the gradient's one-norm, or
-- another quantity. A slope for each lr (series).
-- $source: 'measured', or a plumbing check that puts -x ('formula'), x ('reversed') or 0 ('none') for y.
WITH crossings AS (
-- include: memory_crossings.sql
)
SELECT
    seed,
    lr::VARCHAR AS series,
    x,
    CASE $source
        WHEN 'formula' THEN -x
        WHEN 'reversed' THEN x
        WHEN 'none' THEN 0.0
        WHEN 'measured' THEN
            CASE $quantity
                WHEN 'grad_l1' THEN ln(grad_l1)
                WHEN 'test_loss' THEN test_loss
                WHEN 'test_accuracy' THEN test_accuracy
            END
    END AS y
FROM crossings
WHERE task = $task AND rule = $rule AND batch_size = $batch_size AND threshold = $threshold
