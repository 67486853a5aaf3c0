-- One row: measured over exact variance of partitions, for one trial at one phase, batch size and quantity.
-- A part is a task and a quantity. $factor takes out a finite-population factor, which partitions do not have.
SELECT
    t.seed,
    concat_ws('/', split_part(t.task, '@', 1), p.quantity) AS part,
    (p.std / p.std_exact) ** 2
    / (CASE WHEN $factor THEN (p.num_rows - p.batch_size) / (p.num_rows - 1) ELSE 1 END) AS value
FROM noise_partition AS p
JOIN trials AS t USING (trial_id)
