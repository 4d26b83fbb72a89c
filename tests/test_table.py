from virtualpool.table import table


def test_columns_are_as_wide_as_their_widest_cell():
    drawn = table(["a", ">long title", "b"], [["wider", "1", "x"], ["w", "20", ""]])
    assert drawn.splitlines() == [
        "a      long title  b",
        "wider           1  x",
        "w              20",
    ]


def test_a_table_without_rows_is_its_titles():
    assert table(["a", ">b"], []) == "a  b"
