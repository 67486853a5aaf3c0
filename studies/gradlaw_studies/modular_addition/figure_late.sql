-- One row: modulus and step measured after the first; of the frequencies of converged networks the share with
-- order 4 or 6; of those with four or six nodes of their own the share that is factorable, and their median
-- residual; of the factorable ones the share of a construction's kind.
SELECT
    t.modulus,
    f.step,
    f.step = t.steps AS at_end,
    count_if(f.order_absolute IN (4, 6)) / count(*) AS order_4_or_6,
    count_if(f.factorable) / count(f.residual) AS factorable,
    count_if(f.factorable AND f.kind <> 'other') / count_if(f.factorable) AS construction,
    median(f.residual) AS residual
FROM frequencies AS f
JOIN trials AS t USING (trial_id)
JOIN networks AS n ON n.trial_id = f.trial_id AND n.step = t.steps
WHERE f.step > 0
    AND n.converged
    AND t.task LIKE 'modular_addition@%'
    AND t.labels = 'sum'
    AND t.width = $width
    AND t.weight_decay = $weight_decay
GROUP BY t.modulus, f.step, at_end
ORDER BY ALL
