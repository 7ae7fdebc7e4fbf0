"""What an answer is made of, whatever the question: findings in words, tables, and figures in one look."""
