-- One row: one trial along which sharpness is measured on the network; passed if it ended soundly.
SELECT trial_id, state = 'done' AS passed
FROM trials
WHERE task LIKE 'digits_mlp@%' AND trial_id IN (
    SELECT trial_id FROM metrics WHERE sharpness IS NOT NULL OR preconditioned_sharpness IS NOT NULL
)
