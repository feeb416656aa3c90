"""Files: the only place, beside `geometry.conventions`, where other conventions than ours exist.

images         PNG, JPEG and the like; 16-bit depth maps
video          MP4
posed          what every reader of captures returns: images with cameras, and their depth where there is any
nerfstudio     transforms.json of nerfstudio, instant-ngp and Blender
colmap         COLMAP models, text and binary
realestate10k  camera paths with their videos
nuscenes       the dataset's tables, or one frame as JSON
ddad           DDAD and other scenes in TRI's DGP format
ply            point clouds and meshes, colored in sRGB
splats         3D Gaussians, in INRIA's PLY and in .splat
gltf           GLB: y up, colors in linear light, textures
gltf_reader    the same read
obj            meshes in OBJ, colored or textured
files          atomic writing
entries        checked values from JSON

Readers raise `geometry.errors.InputError` with one line for any bad file. Libraries are loaded when first needed.
"""
