-- One row: task, phase, replacement, quantity and batch size; geometric mean of the std over seeds, the
-- exact line, and the mean and standard error of the residual log(std_corrected / std_exact).
SELECT
    split_part(t.task, '@', 1) AS task,
    n.phase,
    n.replacement,
    n.quantity,
    n.batch_size,
    exp(avg(ln(n.std))) AS std,
    exp(avg(ln(n.std_exact))) AS std_exact,
    avg(ln(n.std_corrected / n.std_exact)) AS residual,
    coalesce(stddev_samp(ln(n.std_corrected / n.std_exact)) / sqrt(count(*)), 0) AS residual_error
FROM gradient_noise AS n
JOIN trials AS t USING (trial_id)
GROUP BY ALL
ORDER BY ALL
