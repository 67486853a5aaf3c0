-- One row: B kappa_B / kappa_1 for one trial at one phase, batch size, quantity and direction, where
-- measurable; not for B = 1, which is its own measure. A part is a quantity. $scaled false leaves B out: kappa_B / kappa_1.
SELECT
    t.seed,
    k.quantity AS part,
    k.excess_kurtosis / k.kurtosis_exact / (CASE WHEN $scaled THEN 1 ELSE k.batch_size END) AS value
FROM noise_kurtosis AS k
JOIN trials AS t USING (trial_id)
WHERE k.measurable AND k.batch_size > 1
