-- One row: one network that starts at a construction; ln of its squared norm at the end over that at the start.
SELECT t.seed, ln(e.weight_norm2 / s.weight_norm2) AS value
FROM networks AS e
JOIN networks AS s ON s.trial_id = e.trial_id AND s.step = 0
JOIN trials AS t ON t.trial_id = e.trial_id
WHERE e.step = t.steps AND t.task LIKE 'modular_addition_constructed@%'
    AND t.construction = $construction AND t.weight_decay = $weight_decay
