-- One row: one trial of a kernel and kind of twin; log of the largest gap against log lr. With $relative the gap is in
-- units of what theory leaves out, h m1 or h^2 m2 of the kernel's first n = T/h weights. $kernel: LIKE pattern.
-- $corrected_only leaves out the twins without the correction.
SELECT
    t.seed,
    k.kernel || CASE WHEN k.corrected THEN ' corrected' ELSE '' END AS part,
    ln(k.lr) AS x,
    ln(k.gap_max) - CASE WHEN $relative THEN ln(k.left_out) ELSE 0.0 END AS y
FROM kernel_order AS k
JOIN trials AS t USING (trial_id)
WHERE k.kernel LIKE $kernel AND (k.corrected OR NOT $corrected_only)
