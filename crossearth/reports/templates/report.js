'use strict';

// Sorting: numbers first from the largest, words from a to z, empty cells always last.
for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector('button').addEventListener('click', () => {
      const numeric = head.classList.contains('number');
      const before = head.getAttribute('aria-sort');
      const ascending = before === null ? !numeric : before === 'descending';
      for (const other of heads) other.removeAttribute('aria-sort');
      head.setAttribute('aria-sort', ascending ? 'ascending' : 'descending');
      const value = (row) => row.cells[column].dataset.value;
      const rows = [...table.tBodies[0].rows].sort((one, other) => {
        const [a, b] = [value(one), value(other)];
        if (a === '' || b === '') return (a === '') - (b === '');
        const order = numeric ? a - b : a.localeCompare(b, undefined, { numeric: true });
        return ascending ? order : -order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}

// Before and after: the range moves the edge, the list chooses what is right of it.
for (const figure of document.querySelectorAll('.compare')) {
  const frame = figure.querySelector('.frame');
  const range = figure.querySelector('input');
  const maps = [...figure.querySelectorAll('.over')];
  range.addEventListener('input', () => frame.style.setProperty('--at', range.value));
  figure.querySelector('select').addEventListener('change', (event) => {
    maps.forEach((map, index) => { map.hidden = index !== event.target.selectedIndex; });
  });
}

// Copying: where the browser does not allow it, the text is selected instead.
for (const button of document.querySelectorAll('button.copy')) {
  const source = document.getElementById(button.dataset.copies);
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = 'Copied';
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = 'Selected: press Ctrl+C';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 4000);
  });
}
