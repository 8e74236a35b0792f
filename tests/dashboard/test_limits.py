"""Sliders whose ends follow from what is shown, without a browser: an end never lies below its value."""

import pytest
from streamlit.testing.v1 import AppTest


def neuron() -> None:
    from qlifq.dashboard.neuron.page import neuron_page

    neuron_page()


def calibration() -> None:
    from qlifq.dashboard.calibration.page import calibration_page

    calibration_page()


def opened(page: object, **address: str) -> AppTest:
    app = AppTest.from_function(page, default_timeout=120)  # type: ignore[arg-type]
    app.query_params["v"] = "1"
    for name, value in address.items():
        app.query_params[name] = value
    return app.run()


def test_the_address_names_the_neuron_that_is_shown_after_there_are_fewer() -> None:
    app = opened(neuron, neurons="3", shown="2")
    app.slider(key="neuron.neurons").set_value(2).run()
    assert not app.exception
    assert app.query_params["shown"] in ("1", ["1"])
    assert app.slider(key="neuron.shown").value == 1


def test_a_page_that_shows_a_sentence_has_its_sliders() -> None:
    app = opened(neuron, source="upload", shown="20")
    assert app.error[0].value.startswith("The source 'upload' needs")
    assert not app.exception
    assert app.slider(key="neuron.shown").value == 9


@pytest.mark.parametrize("neurons", [4, 2])
def test_a_site_is_one_that_was_measured(neurons: int) -> None:
    app = opened(calibration, neurons="4", shots="200", noise="numbers", site="3")
    app.button(key="calibration:run").click().run()
    app.slider(key="calibration.neurons").set_value(neurons).run()
    app.button(key="calibration:run").click().run()
    assert not app.exception
    assert app.slider(key="calibration.site").value == neurons - 1
