-- One row: one trial with shuffled labels; the highest accuracy on its held-out rows at any logged step.
SELECT t.seed, max(m.test_accuracy)::DOUBLE AS value
FROM trials AS t
JOIN metrics AS m USING (trial_id)
WHERE t.labels = 'shuffled'
GROUP BY t.trial_id, t.seed
