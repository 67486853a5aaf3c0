-- One row: one trial at one threshold of its training loss. x: lr (c_n(beta1) - c_n(beta2)) with n the steps done,
-- which are the gradients seen (see law.py).
SELECT
    t.trial_id,
    t.seed,
    split_part(t.task, '@', 1) AS task,
    split_part(t.rule, '@', 1) AS rule,
    t.lr,
    t.beta1,
    t.beta2,
    t.batch_size,
    m.threshold,
    m.step,
    m.grad_l1,
    m.test_loss,
    m.test_accuracy,
    t.lr * (
        t.beta1 / (1 - t.beta1) - m.step * pow(t.beta1, m.step) / (1 - pow(t.beta1, m.step))
        - t.beta2 / (1 - t.beta2) + m.step * pow(t.beta2, m.step) / (1 - pow(t.beta2, m.step))
    ) AS x
FROM trials AS t
JOIN matched_loss AS m USING (trial_id)
WHERE m.step > 0
