-- One row: one position of one path between two constructed solutions; its loss and squared norm.
SELECT p.path, p.modulus, p.width, p.position, p.loss, p.norm2
FROM connecting_path AS p
ORDER BY ALL
