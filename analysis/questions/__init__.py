"""What measures answer: a file for each question, of the name of its experiment, with words, tables and figures."""
