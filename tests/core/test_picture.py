"""The picture of a workflow: where steps stand, how arrows run, and what the SVG says."""

import time
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.layout import NODE_HEIGHT, Layout, Place, lay_out
from workflows.layout.order import count_crossings, order_layers
from workflows.layout.ranks import build_layers
from workflows.picture import BackEdge, Node, draw_picture, lay_out_steps

SVG = "{http://www.w3.org/2000/svg}"
MISSION = ("generate_plan", "approval_gate", "execute_plan")


def draw(nodes: list[Node], edges: list[tuple[str, str]], **options: object) -> ElementTree.Element:
    return ElementTree.fromstring(draw_picture(nodes, edges, title="Run 1", **options))  # noqa: S314


def place(names: list[str], edges: list[tuple[str, str]]) -> Layout:
    return lay_out(dict.fromkeys(names, 120), edges)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, str]]]:
    names = [f"s{index}" for index in range(draw(st.integers(1, 24)))]
    ends = st.integers(0, len(names) - 1)
    pairs = draw(st.lists(st.tuples(ends, ends), max_size=60))
    return names, [(names[min(pair)], names[max(pair)]) for pair in pairs if pair[0] != pair[1]]


def points_of(layout: Layout) -> dict[tuple[str, str], tuple[tuple[int, int], ...]]:
    names = layout.names
    return {(names[a.source], names[a.target]): a.points for a in layout.arrows}


class TestLayout:
    @given(graphs())
    def test_every_arrow_runs_forward(self, graph):
        names, edges = graph
        layout = place(names, edges)
        for source, target in edges:
            assert layout.places[source].x + 120 < layout.places[target].x

    @given(graphs())
    def test_no_two_steps_overlap(self, graph):
        layout = place(*graph)
        ranks: dict[int, list[int]] = {}
        for box in layout.places.values():
            ranks.setdefault(box.rank, []).append(box.y)
        for rows in ranks.values():
            assert all(lower - upper > NODE_HEIGHT for upper, lower in pairwise(sorted(rows)))

    @given(graphs())
    def test_everything_is_inside_the_frame(self, graph):
        layout = place(*graph)
        half = NODE_HEIGHT // 2
        for box in layout.places.values():
            assert 0 <= box.x <= layout.width - box.width
            assert half <= box.y <= layout.height - half
        for arrow in layout.arrows:
            assert all(0 <= x <= layout.width for x, _ in arrow.points)
            assert all(0 <= y <= layout.height for _, y in arrow.points)

    @given(graphs())
    def test_every_arrow_joins_its_two_steps(self, graph):
        names, edges = graph
        layout = place(names, edges)
        points = points_of(layout)
        assert set(points) == set(edges)
        for (source, target), route in points.items():
            start, end = layout.places[source], layout.places[target]
            assert route[0] == (start.x + start.width, start.y)
            assert route[-1] == (end.x, end.y)

    @given(graphs())
    def test_no_arrow_runs_through_a_step(self, graph):
        names, edges = graph
        layout = place(names, edges)
        for (source, target), route in points_of(layout).items():
            for (x, y), (next_x, next_y) in pairwise(route):
                for name, box in layout.places.items():
                    if name in (source, target) or y != next_y:
                        continue
                    is_beside = next_x <= box.x or box.x + box.width <= x
                    assert is_beside or abs(y - box.y) > NODE_HEIGHT // 2

    @given(graphs())
    def test_sorting_the_ranks_never_adds_crossings(self, graph):
        names, edges = graph
        number = {name: index for index, name in enumerate(names)}
        pairs = [(number[source], number[target]) for source, target in dict.fromkeys(edges)]
        layers = build_layers(len(names), pairs)
        before = count_crossings(layers)
        order_layers(layers)
        assert count_crossings(layers) <= before

    def test_crossing_arrows_are_untangled(self):
        layout = place(["a", "b", "c", "d"], [("a", "d"), ("b", "c")])
        places = layout.places
        assert (places["a"].y < places["b"].y) == (places["d"].y < places["c"].y)

    def test_a_chain_is_straight(self):
        layout = place(list(MISSION), list(pairwise(MISSION)))
        assert {box.y for box in layout.places.values()} == {NODE_HEIGHT // 2}

    def test_siblings_stand_evenly_about_their_parent(self):
        layout = place(["a", "b", "c"], [("a", "b"), ("a", "c")])
        above, below = layout.places["b"].y, layout.places["c"].y
        assert layout.places["a"].y == (above + below) / 2

    def test_a_long_arrow_is_straight_between_its_ends(self):
        names = ["a", "b", "c", "d", "e"]
        route = points_of(place(names, [*pairwise(names), ("a", "e")]))["a", "e"]
        assert len({y for _, y in route[2:-2]} | {route[2][1]}) == 1

    def test_arrows_that_arrive_where_others_left_turn_later(self):
        layout = place(["a", "b", "c", "d"], [("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")])
        assert all(arrow.points for arrow in layout.arrows)

    def test_the_order_of_the_definition_is_kept_where_nothing_crosses(self):
        layout = place(["z", "m", "a"], [])
        assert layout.places["z"].y < layout.places["m"].y < layout.places["a"].y

    def test_a_cycle_is_drawn_without_the_edge_that_closes_it(self):
        layout = place(["a", "b", "c"], [("a", "b"), ("b", "c"), ("c", "a")])
        assert layout.loops == (("c", "a"),)
        assert layout.places["a"].x < layout.places["b"].x < layout.places["c"].x

    @given(graphs(), st.data())
    def test_higher_boxes_get_the_room_they_need(self, graph, data):
        names, edges = graph
        sizes = st.integers(NODE_HEIGHT, 300)
        heights = {name: data.draw(sizes) for name in names if data.draw(st.booleans())}
        layout = lay_out(dict.fromkeys(names, 120), edges, heights=heights)
        ranks: dict[int, list[Place]] = {}
        for box in layout.places.values():
            ranks.setdefault(box.rank, []).append(box)
            assert box.top >= 0
            assert box.top + box.height <= layout.height + 1
        for boxes in ranks.values():
            for upper, lower in pairwise(sorted(boxes, key=lambda box: box.y)):
                assert upper.top + upper.height < lower.top

    def test_words_on_an_arrow_get_room_before_the_step(self):
        plain = place(["a", "b"], [("a", "b")])
        labelled = lay_out({"a": 120, "b": 120}, [("a", "b")], labels={("a", "b"): 40})
        assert labelled.places["b"].x == plain.places["b"].x + 40

    def test_unknown_names_and_self_loops_are_ignored(self):
        assert place(["a"], [("a", "a"), ("a", "b"), ("x", "a")]).arrows == ()

    def test_an_empty_graph_has_no_size(self):
        assert place([], []).width == 0

    @pytest.mark.parametrize("shape", ["chain", "fan", "tangle", "complete"])
    def test_thousands_of_steps_take_seconds(self, shape):
        names = [f"s{index}" for index in range(500 if shape == "complete" else 5_000)]
        edges = {
            "chain": list(pairwise(names)),
            "fan": [(names[0], name) for name in names[1:]],
            "tangle": [
                (names[index * 7919 % index], names[index]) for index in range(1, len(names))
            ]
            + [(names[index * 104729 % index], names[index]) for index in range(1, len(names))],
            "complete": [(one, other) for i, one in enumerate(names) for other in names[i + 1 :]],
        }[shape]
        started = time.process_time()
        draw_picture([Node(name) for name in names], edges, title="Large")
        assert time.process_time() - started < 5

    def test_too_many_arrows_are_reduced_to_those_that_do_not_follow(self):
        names = [f"s{index}" for index in range(200)]
        layout = place(names, [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]])
        assert layout.is_reduced
        assert set(points_of(layout)) == set(pairwise(names))


class TestPicture:
    def test_a_step_is_a_link_with_its_status_in_colour_icon_and_word(self):
        root = draw([Node("deploy", "task", "failed", href="/executions/1/?step=deploy")], [])
        link = root.find(f"{SVG}a")
        assert link is not None
        assert link.get("href") == "/executions/1/?step=deploy"
        assert "tone-failed" in link.get("class", "")
        assert link.find(f"{SVG}use").get("href") == "#graph-cross"
        assert [text.text for text in link.iter(f"{SVG}text")] == ["deploy", "Failed"]
        assert root.find(f".//{SVG}symbol[@id='graph-cross']") is not None

    def test_it_is_a_group_with_a_name_and_never_an_image(self):
        root = draw([Node("a")], [])
        assert root.get("role") == "group"
        assert root.get("aria-label") == "Run 1"

    def test_links_come_in_the_order_of_the_ranks(self):
        nodes = [Node(name, href=f"#{name}") for name in reversed(MISSION)]
        root = draw(nodes, list(pairwise(MISSION)))
        assert [link.get("href") for link in root.iter(f"{SVG}a")] == [f"#{n}" for n in MISSION]

    def test_a_step_without_an_address_is_no_link(self):
        assert draw([Node("a")], []).find(f"{SVG}a") is None

    @pytest.mark.parametrize("name", ['<script>alert("1")</script>', "a&b", "'\"", "]]>", "日本語"])
    def test_names_are_text_and_nothing_else(self, name):
        root = draw([Node(name, label=name, note=name, href="/?a=1&b=2")], [], prefix="p")
        assert name in root.findtext(f"{SVG}a/{SVG}title")
        assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
            *("svg", "defs", "symbol", "path", "circle", "rect", "g", "a", "title", "use", "text")
        }

    def test_there_are_no_style_attributes(self):
        nodes = [Node("a", "approval", "waiting", is_current=True), Node("b", status="skipped")]
        for is_standalone in (False, True):
            root = draw(nodes, [("a", "b")], is_standalone=is_standalone)
            assert all("style" not in element.attrib for element in root.iter())

    def test_a_long_name_ends_with_an_ellipsis_and_is_whole_in_the_tooltip(self):
        name = "a_step_whose_name_goes_on_and_on_and_on_and_on"
        root = draw([Node(name)], [])
        shown = root.findtext(f"{SVG}g[@transform]/{SVG}text")
        assert shown.endswith("…")
        assert name.startswith(shown[:-1])
        assert root.findtext(f"{SVG}g[@transform]/{SVG}title").startswith(name)

    def test_a_short_name_is_whole(self):
        assert draw([Node("scan_packages")], []).findtext(f".//{SVG}text") == "scan_packages"

    def test_the_gate_that_is_asked_about_is_marked(self):
        root = draw([Node("gate", "approval", "waiting", "Waiting for you", is_current=True)], [])
        gate = root.find(f"{SVG}g[@transform]")
        assert gate.get("aria-current") == "true"
        assert "is-current" in gate.get("class")
        assert gate.find(f"{SVG}use").get("href") == "#graph-person"

    def test_arrows_to_a_skipped_step_are_dashed(self):
        nodes = [Node("a", status="completed"), Node("b", status="skipped")]
        assert (
            draw(nodes, [("a", "b")]).find(f".//{SVG}path[@class='graph-edge is-off']") is not None
        )

    def test_a_back_edge_is_drawn_below_with_its_words(self):
        nodes = [Node(name) for name in MISSION]
        edges = list(pairwise(MISSION))
        back = BackEdge("approval_gate", "generate_plan", "if you request changes")
        plain, root = draw(nodes, edges), draw(nodes, edges, back_edges=[back])
        assert root.findtext(f".//{SVG}text[@class='graph-back']") == "if you request changes"
        assert int(root.get("height")) > int(plain.get("height"))

    def test_a_back_edge_of_unknown_steps_is_left_out(self):
        root = draw([Node("a")], [], back_edges=[BackEdge("a", "nowhere")])
        assert root.find(f".//{SVG}path[@class='graph-edge is-back']") is None

    def test_a_kept_layout_gives_the_same_picture(self):
        nodes, edges = [Node(name) for name in MISSION], list(pairwise(MISSION))
        kept = lay_out_steps(MISSION, edges)
        fresh = draw_picture(nodes, edges, title="Run 1")
        assert draw_picture(nodes, edges, title="Run 1", layout=kept) == fresh

    def test_a_block_is_a_box_around_its_steps(self):
        inside = (Node("lint", status="completed", href="#lint"), Node("test", href="#test"))
        checks = Node("checks", "parallel", "running", inside=inside, href="#checks", times="× 3")
        root = draw([Node("a", href="#a"), checks], [("a", "checks")])
        block = root.find(f"{SVG}g[@class='graph-block']")
        assert [link.get("href") for link in root.iter(f"{SVG}a")] == [
            *("#a", "#checks", "#lint", "#test")
        ]
        assert [link.get("href") for link in block.iter(f"{SVG}a")][1:] == ["#lint", "#test"]
        box = block.find(f".//{SVG}rect[@class='graph-box is-block']")
        inner = block.findall(f"./{SVG}g/{SVG}a")
        lowest = max(int(a.get("transform").split()[1].rstrip(")")) for a in inner)
        assert int(box.get("height")) > lowest + NODE_HEIGHT
        assert "checks × 3" in [text.text for text in block.iter(f"{SVG}text")]

    def test_steps_inside_a_block_are_joined_by_arrows(self):
        inside = (Node("tag"), Node("push"))
        release = Node("release", "sequential", inside=inside, edges=(("tag", "push"),))
        root = draw([release], [])
        assert len(root.findall(f".//{SVG}path[@class='graph-edge']")) == 1

    def test_a_value_stands_on_the_arrow_that_it_leads_along(self):
        labels = {("ask", "yes"): "true", ("ask", "no"): "<else>"}
        nodes = [Node("ask", "condition"), Node("yes"), Node("no")]
        root = draw(nodes, list(labels), labels=labels)
        words = [
            text.text for text in root.iter(f"{SVG}text") if text.get("class") == "graph-value"
        ]
        assert sorted(words) == ["<else>", "true"]

    def test_a_status_that_nobody_knows_is_shown_by_its_name(self):
        root = draw([Node("a", status="on_hold")], [])
        assert [text.text for text in root.iter(f"{SVG}text")] == ["a", "On hold"]

    def test_a_picture_that_stands_alone_carries_its_colours(self):
        root = draw([Node("a", status="failed")], [], is_standalone=True)
        assert root.find(f".//{SVG}rect[@class='graph-box']").get("stroke") == "#b02121"
