-- One row: one rule, batch size and lr; share of the seeds that reached the target, and their mean steps.
SELECT
    rule,
    batch_size,
    lr,
    avg((state = 'reached_target')::INT) AS reached,
    avg(steps_done) FILTER (state = 'reached_target') AS steps
FROM trials
WHERE sampling = 'iid' AND rule <> ''
GROUP BY ALL
ORDER BY ALL
