-- One row: one trial along which sharpness is measured on the network; passed if it ended, soundly or by diverging:
-- where it diverged, path_end.sql reads the last sharpness before.
SELECT trial_id, state IN ('done', 'diverged') AS passed
FROM trials
WHERE task LIKE 'digits_mlp@%' AND trial_id IN (
    SELECT trial_id FROM metrics WHERE sharpness IS NOT NULL OR preconditioned_sharpness IS NOT NULL
)
