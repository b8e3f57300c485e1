//! A camera's state as the rest of the system sees it.

/// What a camera is doing. The names are the closed vocabulary of the `state` column of `health.v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CameraState {
    /// Frames arrive.
    Up,
    /// No connection yet, or lost and being restored.
    Connecting,
    /// The camera refuses our credentials.
    AuthFailed,
    /// The stream's codec cannot be decoded here.
    CodecUnsupported,
    /// Connected, but no frame arrives.
    Stalled,
    /// The picture cannot be trusted: covered, moved, defocused or frozen.
    Tampered,
    /// Given up or switched off.
    Disabled,
}

impl CameraState {
    /// Every state, in the order of the released dictionary.
    pub const ALL: [Self; 7] = [
        Self::Up,
        Self::Connecting,
        Self::AuthFailed,
        Self::CodecUnsupported,
        Self::Stalled,
        Self::Tampered,
        Self::Disabled,
    ];

    /// The state's name in tables and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Connecting => "connecting",
            Self::AuthFailed => "auth_failed",
            Self::CodecUnsupported => "codec_unsupported",
            Self::Stalled => "stalled",
            Self::Tampered => "tampered",
            Self::Disabled => "disabled",
        }
    }
}
