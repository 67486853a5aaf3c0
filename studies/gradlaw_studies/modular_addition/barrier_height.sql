-- One row: two trained networks under one match of their symmetries, $matching; the largest loss on the
-- straight path between them above the line between the losses at its ends.
SELECT t.seed, max(b.loss - b.chord) AS value
FROM barrier AS b
JOIN trials AS t USING (trial_id)
WHERE b.matching = $matching
GROUP BY t.seed, b.trial_id
