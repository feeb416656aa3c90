"""Images moved between cameras and compared: resampling, warping, flow, epipolar geometry."""
