-- One row: one trial at the $end ('smallest', 'largest') lr of its momentum; how far the mean end of heavy ball lies
-- from what it is compared with, in units of what the noise term moves.
-- $compared: 'past_batches', its memoryless twin; 'full_batch', heavy ball on all rows; 'twin': the twin's own mean
-- end from heavy ball on all rows.
-- $factor: the unit's constant, 'noise' for b / (2 (1-b) (1+b)), or 'gradient' for b / (2 (1-b)^2), that of the term
-- in the full gradient's norm.
WITH shares AS (
    SELECT
        trial_id,
        max(share) FILTER (compared = 'past_batches') AS past,
        max(share) FILTER (compared = 'full_batch') AS full_batch
    FROM noise_share
    GROUP BY trial_id
),
ranked AS (
    SELECT t.seed, t.momentum, t.lr, s.past, s.full_batch
    FROM shares AS s
    JOIN trials AS t USING (trial_id)
    QUALIFY t.lr = CASE $end
        WHEN 'smallest' THEN min(t.lr) OVER (PARTITION BY t.momentum)
        WHEN 'largest' THEN max(t.lr) OVER (PARTITION BY t.momentum)
    END
)
SELECT
    seed,
    format('momentum {:g}', momentum) AS part,
    CASE $compared
        WHEN 'past_batches' THEN past
        WHEN 'full_batch' THEN full_batch
        WHEN 'twin' THEN full_batch - past
    END * CASE $factor WHEN 'noise' THEN 1.0 WHEN 'gradient' THEN (1 - momentum) / (1 + momentum) END AS value
FROM ranked
