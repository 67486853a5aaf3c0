-- One row: one trial of the scaling rules; passed if it ended, soundly or by diverging (a rule that makes training
-- diverge is data), and its batch is smaller than the noise scale along it, tr Sigma / |G|^2 with numerator and
-- denominator averaged apart: noise dominates.
WITH noise AS (
    SELECT trial_id, avg(noise_trace::DOUBLE) / avg(noise_grad_squared::DOUBLE) AS scale
    FROM metrics
    WHERE noise_trace IS NOT NULL
    GROUP BY trial_id
)
SELECT t.trial_id, t.state IN ('done', 'diverged') AND coalesce(n.scale > t.batch_size, false) AS passed
FROM trials AS t
JOIN noise AS n USING (trial_id)
