-- One row: one trial; the largest difference of AdamW's correction from Lion's after the most steps looked at, in
-- units of AdamW's largest. $equal: trials with beta1 = beta2, or those without.
SELECT t.seed, max_by(l.difference / l.adamw_max, l.n) AS value
FROM correction_limit AS l
JOIN trials AS t USING (trial_id)
WHERE (t.beta1 = t.beta2) = $equal
GROUP BY t.trial_id, t.seed
