"""Files: the only place, beside `geometry.conventions`, where other conventions than ours exist.

images      PNG, JPEG and the like; 16-bit depth maps
video       MP4
nerfstudio  transforms.json of nerfstudio, instant-ngp and Blender
ply         point clouds and meshes, coloured in sRGB
gltf        GLB: y up, colours in linear light
files       atomic writing

Readers raise `geometry.errors.InputError` with one line for any bad file. Libraries are loaded when first needed.
"""
