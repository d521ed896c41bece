import DataTable from "datatables";

const PAGE = 50;

for (const element of document.querySelectorAll("table.grid")) {
  const long = element.tBodies[0].rows.length > PAGE;
  const table = new DataTable(element, {
    autoWidth: false,
    order: [],
    orderMulti: true,
    paging: long,
    pageLength: PAGE,
    lengthMenu: [PAGE, 100, { label: "all", value: -1 }],
    layout: {
      topStart: "search",
      topEnd: long ? "pageLength" : null,
      bottomStart: long ? "info" : null,
      bottomEnd: long ? "paging" : null,
    },
    language: {
      search: "Filter",
      lengthMenu: "Rows _MENU_",
      zeroRecords: "No row matches.",
      info: "Rows _START_ to _END_ of _TOTAL_",
      infoFiltered: "(filtered from _MAX_)",
      infoEmpty: "No rows",
    },
  });
  const box = element.closest(".dt-layout-table");
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", element.dataset.label);

  const boxes = element.closest(".board-table")?.querySelectorAll("[data-hide]") ?? [];
  const hidden = new Set();
  table.search.fixed("marks", (text, data, index) => {
    const marks = table.row(index).node().dataset.marks.split(" ");
    return !marks.some((mark) => hidden.has(mark));
  });
  for (const box of boxes) {
    box.addEventListener("change", () => {
      if (box.checked) hidden.add(box.dataset.hide);
      else hidden.delete(box.dataset.hide);
      table.draw();
    });
  }
  element.dataset.ready = "";
}
