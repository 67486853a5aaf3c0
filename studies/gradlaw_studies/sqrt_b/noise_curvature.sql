-- One row: how log std bends with log B for one trial at one phase and one quantity: the coefficient of
-- (log B)^2 by least squares. B doubles, so log B is equally spaced and its centred square orthogonal to it.
WITH points AS (
    SELECT
        t.seed,
        n.trial_id,
        n.phase,
        n.quantity,
        ln(n.batch_size) - avg(ln(n.batch_size)) OVER (PARTITION BY n.trial_id, n.phase, n.quantity) AS u,
        ln(CASE $source WHEN 'std' THEN n.std WHEN 'std_corrected' THEN n.std_corrected END) AS y
    FROM gradient_noise AS n
    JOIN trials AS t USING (trial_id)
    WHERE n.replacement = $replacement
),
squares AS (
    SELECT
        seed,
        trial_id,
        phase,
        quantity,
        y,
        u * u - avg(u * u) OVER (PARTITION BY trial_id, phase, quantity) AS q
    FROM points
)
SELECT seed, quantity AS part, sum(q * y) / sum(q * q) AS value
FROM squares
GROUP BY seed, trial_id, phase, quantity
