-- One row: measured over exact variance, for one trial at one phase, batch size, replacement and quantity.
-- A part is a quantity. $corrected: whether the finite-population factor is taken out.
SELECT
    t.seed,
    n.quantity AS part,
    ((CASE WHEN $corrected THEN n.std_corrected ELSE n.std END) / n.std_exact) ** 2 AS value
FROM gradient_noise AS n
JOIN trials AS t USING (trial_id)
WHERE $with_replacement OR NOT n.replacement
