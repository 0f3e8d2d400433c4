// Drives the emulated Azure with Microsoft's JavaScript clients: their serializers, pagers and pollers.
// node client.mjs URL SECRET KEY; prints one JSON object. Nothing is sent anywhere but to URL.
import { createRequire } from "node:module";
const require = createRequire(process.env.AZURE_JS_MODULES + "/x.js");
const { ComputeManagementClient } = require("@azure/arm-compute");
const { ResourceManagementClient } = require("@azure/arm-resources");

const [url, secret, keyData] = process.argv.slice(2);
const subscription = "00000000-0000-4000-8000-000000000001";
const credential = { getToken: async () => ({ token: secret, expiresOnTimestamp: Date.now() + 3600e3 }) };
const bearer = {
  name: "bearerOverHttp",
  async sendRequest(request, next) {
    request.headers.set("Authorization", `Bearer ${secret}`);
    request.allowInsecureConnection = true;
    return next(request);
  },
};
const options = { endpoint: url, retryOptions: { maxRetries: 0 }, allowInsecureConnection: true };
const compute = new ComputeManagementClient(credential, subscription, options);
const resources = new ResourceManagementClient(credential, subscription, options);
for (const client of [compute, resources]) {
  const pipeline = client.pipeline;
  for (const name of ["bearerTokenAuthenticationPolicy", "auxiliaryAuthenticationHeaderPolicy"]) {
    pipeline.removePolicy({ name });
  }
  pipeline.addPolicy(bearer, { phase: "Sign" });
}
const poll = { updateIntervalInMs: 20 };
const size = "Standard_L8s_v3";
const out = {};

const collected = async (pager) => {
  const found = [];
  for await (const one of pager) found.push(one);
  return found;
};

await resources.resourceGroups.createOrUpdate("js", { location: "eastus", tags: { team: "js" } });
for (let number = 0; number < 25; number++) {
  await resources.resourceGroups.createOrUpdate(`page${number}`, { location: "eastus" });
}
out.groups = (await collected(resources.resourceGroups.list())).length;

const group = await compute.capacityReservationGroups.createOrUpdate("js", "g", { location: "eastus", zones: ["1"] });
out.group = { zones: group.zones, location: group.location };
const member = await compute.capacityReservations.beginCreateOrUpdateAndWait(
  "js", "g", "m", { location: "eastus", zones: ["1"], sku: { name: size, capacity: 1 } }, poll);
out.member = { state: member.provisioningState, sku: member.sku };

const network = await fetch(
  `${url}/subscriptions/${subscription}/resourceGroups/js/providers/Microsoft.Network/virtualNetworks/n?api-version=2024-05-01`, {
    method: "PUT",
    headers: { Authorization: `Bearer ${secret}`, "Content-Type": "application/json" },
    body: JSON.stringify({ location: "eastus", properties: { subnets: [{ name: "s", properties: {} }] } }),
  });
const subnet = (await network.json()).properties.subnets[0].id;
const vm = (zone, groupId) => ({
  location: "eastus",
  zones: [zone],
  hardwareProfile: { vmSize: size },
  capacityReservation: groupId ? { capacityReservationGroup: { id: groupId } } : undefined,
  storageProfile: {
    imageReference: { publisher: "Canonical", offer: "ubuntu-24_04-lts", sku: "server", version: "latest" },
    osDisk: { createOption: "FromImage", deleteOption: "Delete" },
  },
  osProfile: {
    computerName: "js", adminUsername: "me",
    linuxConfiguration: {
      disablePasswordAuthentication: true,
      ssh: { publicKeys: [{ path: "/home/me/.ssh/authorized_keys", keyData }] },
    },
  },
  networkProfile: {
    networkApiVersion: "2022-11-01",
    networkInterfaceConfigurations: [
      { name: "nic", primary: true, deleteOption: "Delete", ipConfigurations: [{ name: "ip", subnet: { id: subnet } }] },
    ],
  },
});
const made = await compute.virtualMachines.beginCreateOrUpdateAndWait("js", "vm", vm("1", group.id), poll);
out.machine = { state: made.provisioningState, size: made.hardwareProfile.vmSize, zones: made.zones };
out.machines = (await collected(compute.virtualMachines.list("js"))).map((one) => one.name);
const view = await compute.capacityReservations.get("js", "g", "m", { expand: "instanceView" });
out.inside = view.instanceView.utilizationInfo.virtualMachinesAllocated.length;

try {
  await compute.virtualMachines.beginCreateOrUpdateAndWait("js", "late", vm("2"), poll);
  out.late = "made";
} catch (error) {
  // The poller puts the code of the operation into the message.
  out.late = `${error.code ?? ""} ${error.message}`;
}
try {
  await compute.capacityReservationGroups.delete("js", "g");
  out.early = "deleted";
} catch (error) {
  out.early = error.statusCode;
}
await compute.virtualMachines.beginDeleteAndWait("js", "vm", { ...poll, forceDeletion: true });
await compute.virtualMachines.beginDeleteAndWait("js", "late", poll);
await compute.capacityReservations.beginDeleteAndWait("js", "g", "m", poll);
await compute.capacityReservationGroups.delete("js", "g");
await resources.resourceGroups.beginDeleteAndWait("js", poll);
out.left = (await collected(resources.resources.list())).length;
try {
  await resources.resourceGroups.get("js");
} catch (error) {
  out.gone = error.code;
}
console.log(JSON.stringify(out));
