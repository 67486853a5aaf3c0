-- One row: one task, learning rate, beta1 and beta2 of AdamW on all training rows, at one threshold. x: the mean of
-- lr (c_n(beta1) - c_n(beta2)) over seeds; above: mean over seeds of the log one-norm over that of the same seed, lr
-- and beta1 at beta2 = beta1; accuracy: likewise the difference in test accuracy, in percent. With standard errors (missing of one seed).
WITH crossed AS (
    SELECT
        split_part(t.task, '@', 1) AS task,
        t.seed,
        t.lr,
        t.beta1,
        t.beta2,
        m.threshold,
        ln(m.grad_l1) AS log_norm,
        m.test_accuracy,
        t.lr * (
            t.beta1 / (1 - t.beta1) - m.step * pow(t.beta1, m.step) / (1 - pow(t.beta1, m.step))
            - t.beta2 / (1 - t.beta2) + m.step * pow(t.beta2, m.step) / (1 - pow(t.beta2, m.step))
        ) AS x
    FROM trials AS t
    JOIN matched_loss AS m USING (trial_id)
    WHERE t.rule LIKE $rule || '@%' AND t.batch_size = 0 AND m.step > 0
)
SELECT
    c.task,
    c.threshold,
    c.lr,
    c.beta1,
    c.beta2,
    count(*) AS num_seeds,
    avg(c.x) AS x,
    avg(c.log_norm - e.log_norm) AS above,
    stddev(c.log_norm - e.log_norm) / sqrt(count(*)) AS above_error,
    100 * avg(c.test_accuracy - e.test_accuracy) AS accuracy,
    100 * stddev(c.test_accuracy - e.test_accuracy) / sqrt(count(*)) AS accuracy_error
FROM crossed AS c
JOIN crossed AS e
    ON (e.task, e.seed, e.threshold, e.lr, e.beta1, e.beta2) = (c.task, c.seed, c.threshold, c.lr, c.beta1, c.beta1)
GROUP BY c.task, c.threshold, c.lr, c.beta1, c.beta2
ORDER BY c.task, c.threshold DESC, c.lr, c.beta1, c.beta2
