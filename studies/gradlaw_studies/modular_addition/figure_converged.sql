-- One row: modulus, labels, width and weight decay; how many networks were trained, how many converged, and
-- their mean accuracy at the end on the pairs held out.
SELECT
    t.modulus,
    t.labels,
    t.width,
    t.weight_decay,
    count(*) AS num_networks,
    count(*) FILTER (coalesce(n.converged, false)) AS num_converged,
    avg(n.test_accuracy) AS test_accuracy
FROM trials AS t
LEFT JOIN networks AS n ON n.trial_id = t.trial_id AND n.step = t.steps
WHERE t.task LIKE 'modular_addition@%'
GROUP BY ALL
ORDER BY ALL
