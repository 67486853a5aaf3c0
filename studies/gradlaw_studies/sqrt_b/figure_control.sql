-- One row: control, phase, quantity and batch size; geometric mean over the digits' trials of std / std_exact.
SELECT c.control, c.phase, c.quantity, c.batch_size, exp(avg(ln(c.std / c.std_exact))) AS ratio
FROM noise_control AS c
JOIN trials AS t USING (trial_id)
WHERE t.task LIKE 'digits%'
GROUP BY ALL
ORDER BY ALL
