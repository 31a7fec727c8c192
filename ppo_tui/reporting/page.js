// Colours of the charts, light or dark, and buttons that show and hide runs.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const models = () => Bokeh.documents.flatMap((document) => [...document.all_models]);
  const set = (model, values) => {
    for (const [name, value] of Object.entries(values)) if (name in model.properties) model[name] = value;
  };

  const paint = () => {
    const style = getComputedStyle(document.documentElement);
    const [line, quiet] = ["--line", "--quiet"].map((name) => style.getPropertyValue(name).trim());
    for (const model of models()) {
      if (model.type.endsWith("Axis")) {
        set(model, { axis_line_color: line, major_tick_line_color: line, minor_tick_line_color: null,
                     major_label_text_color: quiet });
      } else if (model.type === "Grid") {
        set(model, { grid_line_color: line });
      }
    }
  };

  const toggle = (button) => {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    for (const model of models()) if (model.tags.includes(button.dataset.run)) model.visible = shown;
  };

  const begin = () => {
    if (Bokeh.documents.length === 0) return void setTimeout(begin, 20);
    paint();
    dark.addEventListener("change", paint);
    for (const button of document.querySelectorAll("#runs button")) {
      button.addEventListener("click", () => toggle(button));
    }
    document.body.dataset.ready = "true";
  };
  begin();
})();
