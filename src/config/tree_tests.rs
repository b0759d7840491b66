//! What the tree keeps of a file, and what it finds wrong with one.

use super::*;

fn tree(text: &str) -> Node {
    let (node, problems) = parse(text).unwrap();
    assert_eq!(problems, []);
    node
}

fn at(node: &Node, path: &Path) -> (Value, u32, u32) {
    let found = node.find(path).unwrap();
    (found.value.clone(), found.place.line, found.place.column)
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn problems(text: &str) -> Vec<(u32, u32, String, String)> {
    let problems = parse(text).map_or_else(|problem| vec![problem], |(_, problems)| problems);
    problems.into_iter().map(|p| (p.line, p.column, p.path, p.what)).collect()
}

#[test]
fn plain_scalars_keep_their_text_and_every_value_knows_its_place() {
    let node = tree("a: 0900\nb: off\nc: .inf\nd: 'x''y'\ne: ~\nf: [1_000, -0]\ng:\n  0x1F: \"12\"\n");
    let key = Path::to;
    assert_eq!(at(&node, &key("a")), (text("0900"), 1, 4));
    assert_eq!(at(&node, &key("b")), (text("off"), 2, 4));
    assert_eq!(at(&node, &key("c")), (text(".inf"), 3, 4));
    assert_eq!(at(&node, &key("d")), (text("x'y"), 4, 4));
    assert_eq!(at(&node, &key("e")), (Value::Nothing, 5, 4));
    assert_eq!(at(&node, &key("f").item(0)), (text("1_000"), 6, 5));
    assert_eq!(at(&node, &key("f").item(1)), (text("-0"), 6, 12));
    assert_eq!(at(&node, &key("g").key("0x1F")), (text("12"), 8, 9));
    assert_eq!(node.key_place(&key("g").key("0x1F")), Place { line: 8, column: 3 });
}

#[test]
fn columns_count_characters_and_a_byte_order_mark_is_no_character() {
    let node = tree("\u{feff}{ ä: [ ö, 07 ] }");
    assert_eq!(at(&node, &Path::to("ä").item(1)), (text("07"), 1, 11));
}

#[test]
fn an_alias_is_a_copy_with_the_place_of_the_original_and_merged_keys_give_way() {
    let node = tree("a: &m\n  x: 010\n  z: 2\nb: *m\nc:\n  <<: *m\n  x: 3\n");
    assert_eq!(at(&node, &Path::to("b").key("x")), (text("010"), 2, 6));
    assert_eq!(at(&node, &Path::to("c").key("x")), (text("3"), 7, 6));
    assert_eq!(at(&node, &Path::to("c").key("z")), (text("2"), 3, 6));
}

#[test]
fn a_key_that_stands_twice_is_told_with_both_places_and_the_first_counts() {
    let file = "a: 1\npools:\n  in: 1\n  out: 2\n  in: 3\n";
    let (node, found) = parse(file).unwrap();
    assert_eq!((found[0].line, found[0].column, found[0].path.as_str()), (5, 3, "pools.in"));
    assert_eq!(found[0].what, "this key stands here a second time; the first is at 3:3");
    assert_eq!(at(&node, &Path::to("pools").key("in")).0, text("1"));
}

#[test]
fn keys_that_are_one_number_to_yaml_are_told_too() {
    let twice = |first: &str| format!("this key stands here a second time; the first is at {first}");
    assert_eq!(problems("x:\n- 11: a\n  b: c\n  11: d\n"), [(4, 3, "x[0].11".into(), twice("2:3"))]);
    let found = problems("a: 1\n11: a\na: 2\n0xB: d\n");
    assert_eq!(found, [(3, 1, "a".into(), twice("1:1")), (4, 1, "11".into(), twice("2:1"))]);
}

#[test]
fn a_key_that_is_no_word_is_refused() {
    assert_eq!(problems("a: 1\n? [b, c]\n: 2\n"), [(2, 3, String::new(), "a key must be a single word".into())]);
}

#[test]
fn what_breaks_yaml_is_told_with_its_place() {
    let places: Vec<(u32, u32)> = ["a: b: c\n", "a: [1, 2\nb: 3\n", "a: *nope\n", "a: 1\n---\nb: 2\n", "a: !x y\n"]
        .map(|text| problems(text)[0].clone())
        .into_iter()
        .map(|(line, column, path, what)| {
            assert!(path.is_empty() && what.starts_with("not YAML: ") && !what.contains(" at line"), "{what}");
            (line, column)
        })
        .collect();
    assert_eq!(places, [(1, 5), (2, 2), (1, 4), (3, 1), (1, 7)]);
    assert_eq!(
        parse("to_user: *00\n").unwrap_err().hint.as_deref(),
        Some("a text that begins with * must stand in quotes")
    );
}

#[test]
fn a_file_that_is_too_large_too_deep_or_unfolds_too_far_is_refused() {
    let large = "#".repeat(FILE_BYTES_MAX + 1);
    assert!(parse(&large).unwrap_err().what.contains("at most 4194304"));
    assert!(parse(&"[".repeat(100_000)).is_err());
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for i in 1..9 {
        bomb += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(","));
    }
    assert!(parse(&bomb).is_err());
}

#[test]
fn what_is_lost_is_found_as_lost_and_the_places_stay() {
    let mut node = tree("list: [a, b, c]\nmap: { x: { y: 1 }, z: 2 }\n");
    node.lose(&Path::to("list").item(1));
    node.lose(&Path::to("map").key("x"));
    assert_eq!(node.items(&Path::to("list")), [0, 2]);
    assert!(node.is_lost(&Path::to("map").key("x").key("y")) && !node.is_lost(&Path::to("map").key("z")));
    assert_eq!(node.place(&Path::to("list").item(1)), Place { line: 1, column: 11 });
    assert_eq!(node.place(&Path::to("map").key("none").item(3)), Place { line: 2, column: 6 });
    assert_eq!(node.entries(&Path::to("map")).len(), 2);
}
