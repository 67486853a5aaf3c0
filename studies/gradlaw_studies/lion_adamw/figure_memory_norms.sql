-- One row: one task, learning rate, beta1 and beta2 of AdamW on all training rows, at one threshold. x: the mean of
-- lr (c_n(beta1) - c_n(beta2)) over seeds; above: mean over seeds of the log one-norm over that of the same seed, lr
-- and beta1 at beta2 = beta1; accuracy: likewise the difference in test accuracy, in percent. With standard errors (missing of one seed).
WITH crossings AS (
-- include: memory_crossings.sql
),
crossed AS (
    SELECT *, ln(grad_l1) AS log_norm FROM crossings WHERE rule = $rule AND batch_size = 0
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
