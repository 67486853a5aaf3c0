-- One row: start (construction and block), weight decay and step; over the networks that start there the mean
-- of the squared norm, relative to that at step 0, of the loss, and of the number of frequencies by order.
SELECT
    t.construction,
    t.block,
    t.weight_decay,
    n.step,
    t.steps,
    avg(n.weight_norm2 / s.weight_norm2) AS norm_ratio,
    avg(n.train_loss) AS loss,
    avg(n.num_order_4) AS num_order_4,
    avg(n.num_order_6) AS num_order_6,
    avg(n.num_other_orders) AS num_other_orders,
    count(*) AS num_networks
FROM networks AS n
JOIN networks AS s ON s.trial_id = n.trial_id AND s.step = 0
JOIN trials AS t ON t.trial_id = n.trial_id
WHERE t.task LIKE 'modular_addition_constructed@%' AND n.step IN (0, t.steps)
GROUP BY t.construction, t.block, t.weight_decay, n.step, t.steps
ORDER BY ALL
