-- One row: task, phase, quantity and batch size; mean and standard error over seeds and directions of
-- B kappa_B / kappa_1 where it is measurable, and how many are.
SELECT
    split_part(t.task, '@', 1) AS task,
    k.phase,
    k.quantity,
    k.batch_size,
    avg(k.excess_kurtosis / k.kurtosis_exact) AS ratio,
    coalesce(stddev_samp(k.excess_kurtosis / k.kurtosis_exact) / sqrt(count(*)), 0) AS ratio_error,
    count(*) AS num_measurable
FROM noise_kurtosis AS k
JOIN trials AS t USING (trial_id)
WHERE k.measurable
GROUP BY ALL
ORDER BY ALL
