-- One row: one trial at the threshold. x: lr (c_n(beta1) - c_n(beta2)) with n the steps done, which are the gradients
-- seen (see law.py); y: the log of the gradient's one-norm, or another quantity. A slope for each lr (series).
-- $source: 'measured', or a plumbing check that puts -x ('formula'), x ('reversed') or 0 ('none') for y.
WITH crossed AS (
    SELECT
        t.seed,
        t.lr,
        m.*,
        t.lr * (
            t.beta1 / (1 - t.beta1) - m.step * pow(t.beta1, m.step) / (1 - pow(t.beta1, m.step))
            - t.beta2 / (1 - t.beta2) + m.step * pow(t.beta2, m.step) / (1 - pow(t.beta2, m.step))
        ) AS x
    FROM trials AS t
    JOIN matched_loss AS m USING (trial_id)
    WHERE
        t.task LIKE $task || '@%'
        AND t.rule LIKE $rule || '@%'
        AND t.batch_size = $batch_size
        AND m.threshold = $threshold
        AND m.step > 0
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
FROM crossed
