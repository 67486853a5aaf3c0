-- One row: one pair of betas and step n; mean over seeds of the largest difference of AdamW's correction from Lion's,
-- in units of AdamW's largest.
SELECT t.beta1, t.beta2, l.n, avg(l.difference / l.adamw_max) AS difference
FROM correction_limit AS l
JOIN trials AS t USING (trial_id)
GROUP BY ALL
ORDER BY ALL
