// A button that uploads files of any size as an anywidget: in parts, each after the kernel has
// taken the one before, so that neither the page nor the server ever holds much.

// 3/4 MiB, which is 1 MiB in base64: Colab drops larger messages.
const PART_BYTES = 3 * 2 ** 18;

function render({ model, el }) {
  const row = document.createElement("div");
  const button = document.createElement("button");
  const input = document.createElement("input");
  const state = document.createElement("span");
  button.className = "jupyter-widgets jupyter-button widget-button";
  button.innerHTML = '<i class="fa fa-upload"></i> Upload';
  input.type = "file";
  input.accept = model.get("accept");
  input.multiple = model.get("multiple");
  input.hidden = true;
  state.setAttribute("role", "status");
  row.append(button, input, " ", state);
  el.append(row);

  function taken(id, n_parts) {
    return new Promise((resolve, reject) => {
      const finish = (settle, result) => {
        model.off("change:n_taken", look);
        model.off("msg:custom", onLost);
        settle(result);
      };
      const look = () => model.get("n_taken") >= n_parts && finish(resolve);
      const onLost = ({ lost }) => lost === id && finish(reject, new Error("a part is lost"));
      model.on("change:n_taken", look);
      model.on("msg:custom", onLost);
      look();
    });
  }

  async function send(file) {
    const id = `${Date.now()}-${Math.random()}`;
    const count = Math.max(1, Math.ceil(file.size / PART_BYTES));
    for (let index = 0; index < count; index++) {
      state.textContent = `${file.name}: ${Math.round((100 * index) / count)} %`;
      const start = index * PART_BYTES;
      const part = await file.slice(start, start + PART_BYTES).arrayBuffer();
      const n_taken = model.get("n_taken");
      const is_last = index === count - 1;
      model.send({ id, index, name: file.name, is_last }, undefined, [part]);
      await taken(id, n_taken + 1);
    }
  }

  button.onclick = () => input.click();
  input.onchange = async () => {
    button.disabled = true;
    let name;
    try {
      for (const file of input.files) {
        name = file.name;
        await send(file);
      }
      state.textContent = "";
    } catch (error) {
      state.textContent = `${name} could not be uploaded (${error.message}): choose it again.`;
    }
    input.value = ""; // so that the same file can be chosen again
    button.disabled = false;
  };
}

export default { render };
