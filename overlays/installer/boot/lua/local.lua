-- The installer's system is partition 3 of its disk, by a name that no appliance has: a machine with
-- an appliance on its disk must not take the root from there.

local LOST_US = 30 * 1000 * 1000

local function say(text)
    print("local.lua: " .. text)
end

local device = loader.getenv("currdev")
if string.match(device or "", "^disk%d+p3:$") then
    say("currdev=" .. device .. " installer")
    loader.setenv("vfs.root.mountfrom", "ufs:/dev/gpt/installer")
    loader.setenv("vfs.root.mountfrom.options", "ro")
else
    -- A root that nobody chose could be the wrong one.
    say("currdev=" .. tostring(device) .. " is not where the installer lies; reboot in 30 s")
    loader.unsetenv("vfs.root.mountfrom")
    loader.setenv("autoboot_delay", "NO")
    loader.delay(LOST_US)
    loader.perform("reboot")
end
