// The volume in 3D: one case, side and scan at a time, in NiiVue, which is fetched when it is first asked for.
import { base, element, find, settings } from "./page.js";

let viewer = null;
let wanted = null; // case, side and scan; none while the view is closed
let busy = false;

function load(address) {
  return new Promise((done, failed) => {
    const script = element("script", { src: address });
    script.addEventListener("load", done);
    script.addEventListener("error", failed);
    document.head.append(script);
  });
}

/** Put the crosshair into the middle of the segmentation. */
function goTo({ img, hdr }) {
  const [, width, height] = hdr.dims;
  const sum = [0, 0, 0];
  let count = 0;
  for (let i = 0; i < img.length; i++) {
    if (!img[i]) continue;
    sum[0] += i % width;
    sum[1] += Math.floor(i / width) % height;
    sum[2] += Math.floor(i / (width * height));
    count++;
  }
  const [x, y, z] = sum.map((s) => s / count);
  const place = hdr.affine.slice(0, 3).map((row) => row[0] * x + row[1] * y + row[2] * z + row[3]);
  if (count) viewer.scene.crosshairPos = viewer.mm2frac(place);
  viewer.drawScene();
}

async function makeViewer() {
  if (!window.niivue) await load("/static/niivue.js");
  const made = new window.niivue.Niivue({ dragAndDropEnabled: false, show3Dcrosshair: true, loadingText: "", isRadiologicalConvention: true });
  await made.attachToCanvas(find("canvas"));
  // Of n regions the first is drawn with the n-th part of the scale, and so on; 0 is nothing.
  const regions = settings.outlines.map(([, color]) => [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16)));
  const channel = (i) => [0, ...regions.map((color) => color[i])];
  const places = [0, ...regions.keys()].map((_, i) => Math.round((255 * i) / regions.length));
  made.addColormap("regions", { R: channel(0), G: channel(1), B: channel(2), A: places.map((i) => (i ? 255 : 0)), I: places });
  return made;
}

const opacity = () => (find("mask").checked ? 0.5 : 0);

async function loadVolumes({ id, side, scan }) {
  viewer ??= await makeViewer();
  const at = (name) => ({ url: `${base}/volume/${id}/${side}/${name}.nii.gz`, name: `${name}.nii.gz` });
  await viewer.loadVolumes([at(scan), { ...at("mask"), colormap: "regions", opacity: opacity(), cal_min: 0, cal_max: settings.outlines.length }]);
  viewer.setColormap(viewer.volumes[1].id, "regions");
  viewer.setInterpolation(true);
  viewer.setOpacity(1, opacity());
  goTo(viewer.volumes[1]);
  viewer.setSliceType(viewer.sliceTypeMultiplanar);
}

/** Load what is wanted, one after the other: files that come late must not be added to those of another case. */
async function show(id) {
  wanted = { id, side: find("side")?.value ?? 0, scan: find("scan").value };
  delete find("volume").dataset.loaded; // nothing is seen until it is there
  find("loading").textContent = "loading …";
  if (busy) return; // what is loaded now is dropped, and this comes then
  busy = true;
  while (wanted) {
    const now = wanted;
    let problem = "";
    try {
      await loadVolumes(now);
    } catch (error) {
      problem = `The volume cannot be shown here (${error.message ?? "not loaded"}).`;
    }
    if (wanted !== now) continue;
    wanted = null;
    find("loading").textContent = problem;
    if (!problem) find("volume").dataset.loaded = viewer.volumes.length;
  }
  busy = false;
}

/** Open the view of a case. */
export function openVolume(id) {
  find("volume").showModal();
  find("volume").dataset.case = id;
  show(id);
}

if (find("volume")) {
  for (const [name, label] of settings.shown) find("scan").append(element("option", { value: name }, label));
  find("close3d").addEventListener("click", () => find("volume").close());
  // The event comes late, perhaps when the view is open again for the next case.
  find("volume").addEventListener("close", () => { if (!find("volume").open) wanted = null; });
  for (const name of ["scan", "side"]) find(name)?.addEventListener("change", () => show(find("volume").dataset.case));
  find("mask").addEventListener("change", () => viewer?.volumes[1] && viewer.setOpacity(1, opacity()));
}
