-- One row: one network; one of its measures. $measure: 'top_share', the share of a node's power at its top
-- frequency, or 'mean_residual', the largest |mean over residues| of W_a and W_b relative to their rms.
-- $moment: 'start' (step 0) or 'end'. Only networks at least 4d wide, as wherever the width is left open.
SELECT
    t.seed,
    CASE $measure WHEN 'top_share' THEN n.top_share WHEN 'mean_residual' THEN n.mean_residual END AS value
FROM networks AS n
JOIN trials AS t USING (trial_id)
WHERE n.step = CASE $moment WHEN 'start' THEN 0 WHEN 'end' THEN t.steps END
    AND t.task LIKE 'modular_addition@%'
    AND t.labels = $labels
    AND $weight_decay IN (0, t.weight_decay)
    AND t.width >= 4 * t.modulus
