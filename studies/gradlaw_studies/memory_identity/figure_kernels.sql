-- One row: one kernel, lr and kind of twin; geometric means over seeds of the largest gap and of what theory leaves out.
SELECT k.kernel, k.corrected, k.lr, exp(avg(ln(k.gap_max))) AS gap, exp(avg(ln(k.left_out))) AS left_out
FROM kernel_order AS k
WHERE k.gap_max > 0
GROUP BY ALL
ORDER BY ALL
