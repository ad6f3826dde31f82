-- The slot that was booted becomes the root: partition 3 is slot A, partition 4 is slot B.
-- Both slots hold the same bytes, so the loader's own device is what tells them apart.

local SLOTS = { ["3"] = "A", ["4"] = "B" }
local LOST_US = 30 * 1000 * 1000
-- 7.5 GiB in KiB: a machine sold with 8 GiB keeps some for its firmware.
local LARGE_KIB = 7864320
-- What only the loader can set, for large machines; the table in appliance/tuning.py is the same.
local LARGE = {
    ["net.isr.maxthreads"] = "-1",
    ["net.isr.bindthreads"] = "1",
    ["net.isr.maxqlimit"] = "10240",
    ["net.isr.defaultqlimit"] = "2048",
    ["net.link.ifqmaxlen"] = "2048",
}

local function say(text)
    print("local.lua: " .. text)
end

-- The numbers of the disk and the slot, from a device such as "disk0p3:".
local function slot_of(device)
    local disk, part = string.match(device or "", "^disk(%d+)p(%d+):$")
    if disk == nil then
        return nil, nil
    end
    return disk, SLOTS[part]
end

-- A root that nobody chose could be the wrong one, and a kernel without a root waits for ever. The
-- boot program may choose better at the next start: after a failed trial it takes the other slot.
local function give_up(device)
    say("currdev=" .. tostring(device) .. " is no slot of this system")
    say("no root was chosen; reboot in 30 s")
    loader.unsetenv("vfs.root.mountfrom")
    loader.unsetenv("macula.slot")
    loader.setenv("autoboot_delay", "NO")
    loader.delay(LOST_US)
    loader.perform("reboot")
end

local function tune()
    local kib = tonumber(loader.getenv("smbios.memory.enabled") or "")
    if kib ~= nil and kib >= LARGE_KIB then
        for name, value in pairs(LARGE) do
            loader.setenv(name, value)
        end
    end
end

local function choose()
    local device = loader.getenv("currdev")
    local disk, slot = slot_of(device)
    if slot == nil then
        give_up(device)
        return
    end
    say("currdev=" .. device .. " slot=" .. slot)
    if disk ~= "0" then
        say("this is not the first disk; no other may hold slots")
    end
    loader.setenv("vfs.root.mountfrom", "ufs:/dev/gpt/slot" .. slot)
    loader.setenv("vfs.root.mountfrom.options", "ro")
    loader.setenv("macula.slot", slot)
    tune()
end

choose()
-- Releases differ in whether this runs before or after loader.conf is read. Where it is before,
-- loader.conf would set the values of small machines over those of large ones: so once more.
local has_hooks, hook = pcall(require, "hook")
if has_hooks then
    hook.register("config.loaded", choose)
end
