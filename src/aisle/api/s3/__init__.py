"""The S3 dialect: path-style, under `/s3` and at the root.

`dispatch` chooses the operation, `call` is what a handler receives, `errors` and `xml` are how answers
are written, `etags` says what an object's entity tag is. Each further module is a part: a class whose
`operations()` are its rows of the table. `parts.s3_parts` names all parts.
"""
