-- One row: modulus, labels and step; mean, smallest and largest accuracy over networks, on the pairs trained
-- on and on those held out. Sums at one width and weight decay; shuffled sums whatever theirs.
SELECT
    t.modulus,
    t.labels,
    m.step,
    avg(m.train_accuracy) AS train,
    min(m.train_accuracy) AS train_low,
    max(m.train_accuracy) AS train_high,
    avg(m.test_accuracy) AS test,
    min(m.test_accuracy) AS test_low,
    max(m.test_accuracy) AS test_high,
    count(*) AS num_networks
FROM metrics AS m
JOIN trials AS t USING (trial_id)
WHERE t.task LIKE 'modular_addition@%'
    AND (t.labels = 'shuffled' OR (t.width = $width AND t.weight_decay = $weight_decay))
GROUP BY t.modulus, t.labels, m.step
ORDER BY ALL
