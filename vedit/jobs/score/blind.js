// A blind sheet: which side of each pair is better, saved as a file; nothing is sent anywhere.
document.querySelectorAll(".player").forEach((player) => makePlayer(player));
const sheet = JSON.parse(document.getElementById("sheet").textContent).sheet;
const groups = document.querySelectorAll("fieldset").length;
const answers = {};
const link = document.querySelector("[data-do=save]");
const rater = document.querySelector("[data-do=rater]");
const tell = () => {
  document.querySelector("[data-do=count]").value = `${Object.keys(answers).length} of ${groups} answered`;
  const text = JSON.stringify({ sheet, rater: rater.value, answers }, null, 1);
  link.href = `data:application/json,${encodeURIComponent(text)}`;
};
document.addEventListener("change", (event) => {
  if (event.target.type === "radio") answers[event.target.name] = event.target.value;
  tell();
});
rater.addEventListener("input", tell);
tell();
