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


def test_a_csv_file_of_counts_is_uploaded_and_a_damaged_one_is_refused_by_its_line() -> None:
    counts = "site,angle,shots,ones\n0,0,900,20\n0,1.5,2000,1005\n0,3,400,380\n1,0,50,2\n1,1,200,52\n1,2,200,142\n"
    app = opened(calibration, mapping="linear", site="1")
    uploader = app.file_uploader(key="calibration:file")
    uploader.upload("lab.csv", counts.replace("900,20", "900,nan").encode(), "text/csv").run()
    assert "File lab.csv, line 2: `ones` must be a whole number" in app.error[0].value.replace("\\", "")
    app.file_uploader(key="calibration:file").upload("lab.csv", counts.encode(), "text/csv").run()
    assert not app.exception
    assert not app.error
    shown = " ".join(element.value for element in app.caption).replace("\\", "")
    assert "data measured by the file lab.csv" in shown
    assert list(app.dataframe[0].value["neuron"]) == [0, 1]
    assert app.metric[1].value == "linear"
    assert list(app.dataframe[0].value["slope q_scale"]) == ["not measured"] * 2
    assert all(" ± " in text for text in app.dataframe[0].value["readout P(1 | 0)"])
    app.selectbox(key="calibration.mapping").set_value("tanh").run()
    assert not app.exception
    assert app.metric[1].value == "tanh"
    few = "site,angle,shots,ones\n0,0,900,20\n0,3,400,380\n"
    app.file_uploader(key="calibration:file").upload("few.csv", few.encode(), "text/csv").run()
    assert app.error[0].value.replace("\\", "").startswith("File few.csv")
    assert app.slider(key="calibration.site").value == 1
