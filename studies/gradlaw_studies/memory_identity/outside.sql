-- One row: one trial of AdamW outside the regime; log of the largest gap to the corrected twin against log lr.
-- $why: 'eps', the smallest eps tried; 'reach', the longest horizon tried, where lr (c(beta2) - c(beta1)) is near 1
-- at every lr.
WITH adamw AS (
    SELECT t.*, g.gap_max, t.lr * t.steps AS distance
    FROM trajectory_gap AS g
    JOIN trials AS t USING (trial_id)
    WHERE g.optimizer = 'adamw' AND g.corrected AND g.gap_max > 0
)
SELECT seed, task AS series, ln(lr) AS x, ln(gap_max) AS y
FROM adamw
WHERE CASE $why
    WHEN 'eps' THEN eps = (SELECT min(eps) FROM adamw)
    WHEN 'reach' THEN distance > (SELECT max(distance) FROM adamw) * 0.99
END
